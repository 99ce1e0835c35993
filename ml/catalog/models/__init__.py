"""Model versions, their trainings, evaluations, backbones and promotions."""
