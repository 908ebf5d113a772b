"""Dashboards, alerts and recording rules as code: run ``python -m dashboards``."""

import warnings

with warnings.catch_warnings():
    # The SDK recommends Grafana's second form of dashboards. We stay with the first: it is the one that
    # files, mixins and imports of every Grafana since 10 are in.
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    import grafana_foundation_sdk.builders.dashboard
    import grafana_foundation_sdk.models.dashboardv2beta1  # noqa: F401 - whoever asks next is not told
