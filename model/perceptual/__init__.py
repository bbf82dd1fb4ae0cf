"""Perceptual networks (VGG16, LPIPS) and where their weights come from; a loss in training, a metric in evaluation."""
