"""What people look at: tables, progress and messages on a terminal, and pictures."""
