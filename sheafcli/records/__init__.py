"""From run directories to tables: what runs there are, how they compare, what a sweep found."""
