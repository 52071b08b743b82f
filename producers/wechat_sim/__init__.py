"""A stand-in for WeChat's servers, which can't be had on one's own machine: it speaks their wire formats."""
