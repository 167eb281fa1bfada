"""How a training run is shown; the numbers are made up."""

import numpy as np

from maury.plots import plot_learning_curve

generator = np.random.default_rng(1)
steps = np.linspace(0.02, 20, 1000)
noisy = 1 + 0.15 * generator.standard_normal(steps.size)
loss = (0.02 / (1 + steps) + 3e-4) * noisy
epoch = np.arange(1, 21)
mean = loss.reshape(20, 50).mean(1)
curve = {
    "epoch": epoch,
    "train_loss": mean,
    "train_mae": 0.8 * np.sqrt(mean),
    "val_loss": mean * np.where(epoch < 15, 1.1, 1.1 + 0.05 * (epoch - 15)),
    "val_mae": 0.85 * np.sqrt(mean),
    "step_epoch": steps,
    "step_loss": loss,
    "step_mae": 0.8 * np.sqrt(loss.clip(0)),
}
figure = plot_learning_curve(curve)
