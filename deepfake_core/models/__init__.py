"""What a model is: weights, preprocessing, calibration, versions."""
