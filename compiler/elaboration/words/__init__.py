"""What a formula can call without defining it."""
