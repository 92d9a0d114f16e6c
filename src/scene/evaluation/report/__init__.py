"""From points to documents: BD-rates, tables, figures, the page."""
