"""What is made of features: logits of each modality alone, clusters of samples, prototypes of classes."""
