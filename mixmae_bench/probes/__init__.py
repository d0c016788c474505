"""Probes of frozen backbones: features extracted once and cached, and classifiers of them."""
