"""Features of many samples: clusters, prototypes of classes, entropies, contrasts, drops, what a bottleneck keeps."""
