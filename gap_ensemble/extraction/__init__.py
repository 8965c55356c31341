"""From pictures to features: engines that compute a network, and the workers that hold one."""
