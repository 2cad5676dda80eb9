"""Networks and arrays from elsewhere: files of other tools read safely, and written for them."""
