"""A ladder: one video at several sizes and rates, for players that choose among them as their network allows."""
