"""What a program is: types, operations, graphs and their derivatives."""
