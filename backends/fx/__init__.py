"""PyTorch, by torch.fx."""
