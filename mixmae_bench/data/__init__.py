"""The benchmark's data: small scenes made from scikit-learn's handwritten digits."""
