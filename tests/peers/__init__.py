"""The project against real programs: kubelets, runtimes, Prometheus. `.ci/peers` installs them."""
