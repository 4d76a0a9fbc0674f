"""What is measured on finished weights."""
