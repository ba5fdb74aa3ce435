"""What is known of maps and iterations before they run: bounds, forms and assumptions."""
