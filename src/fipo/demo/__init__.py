"""The demonstration: a small base model learns to reason, with DAPO and FIPO side by side."""
