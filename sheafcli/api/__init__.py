"""What a notebook calls: the floors below with arrays in and results out that show themselves."""
