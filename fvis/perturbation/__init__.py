"""What an adversarial perturbation is: how it is searched for, measured and shown."""
