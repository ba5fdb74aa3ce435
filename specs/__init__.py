"""The standard library, published systems and models: data, in the language."""
