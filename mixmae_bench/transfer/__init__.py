"""Fine-tuning on classification, detection and segmentation."""
