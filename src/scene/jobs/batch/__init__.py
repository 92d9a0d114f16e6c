"""Many files one after the other, search and encode in one, and what would be done before it is done."""
