"""What a reader may ask the accountant's chapter for. It computes in the page, and keeps no records."""

from dataclasses import dataclass

from dpgan_lib.privacy.accounting import PROFILE_DELTA, check_epsilon, check_run, epsilon_rdp, require
from dpgan_lib.privacy.calibration import calibrate_noise_rdp


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a reader of the accountant's chapter may choose: T steps to account for, and an epsilon to plan for.

    epsilon, delta: total, for adding or removing one record.  The ranges are those that a page can compute and draw.
    """

    noise_multiplier: float = 1.0
    sampling_rate: float = 0.01
    steps: int = 2000
    delta: float = 1e-5
    epsilon: float = 1.0

    def check(self) -> None:
        """Raises ValueError: one line with the value, what is expected and the repair. Takes a tenth of a second."""
        check_run(self.noise_multiplier, self.sampling_rate, self.steps, self.delta)
        require(self.noise_multiplier >= 0.1, "noise_multiplier", self.noise_multiplier,
                "must lie in [0.1, 1000] here: less noise hides nothing that a page could draw. Try 1.0.")
        require(self.steps <= 500_000, "steps", self.steps,
                "must be at most 500000 here, or the page takes longer than two minutes. Try 100000.")
        require(self.delta >= PROFILE_DELTA, "delta", self.delta, "must be at least 1e-10 here. Try 1e-6.")
        check_epsilon(self.epsilon)
        require(0.01 <= self.epsilon <= 100, "epsilon", self.epsilon,
                "must lie in [0.01, 100] here: a planner's budget. Try 1.0.")
        spent = epsilon_rdp(noise_multiplier=self.noise_multiplier, sampling_rate=self.sampling_rate,
                            steps=self.steps, delta=self.delta)
        require(spent <= 50, "noise_multiplier", self.noise_multiplier,
                f"must be larger here: these {self.steps} steps spend an epsilon of {spent:.0f}, which promises "
                f"nothing. Try {2 * self.noise_multiplier:g}.")
        calibrate_noise_rdp(epsilon=self.epsilon, delta=self.delta, sampling_rate=self.sampling_rate, steps=self.steps)
