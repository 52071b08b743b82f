"""The distribution `phonemeter-client`: the modules of `producers/` and `metering/` that back ends need."""
