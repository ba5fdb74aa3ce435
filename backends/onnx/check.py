def verify(model): pass
