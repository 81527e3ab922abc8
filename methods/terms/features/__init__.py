"""What the features of many samples are together: clusters, and prototypes of classes."""
