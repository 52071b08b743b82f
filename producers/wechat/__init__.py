"""WeChat's side: what the platform counts and sells becomes events, read by polls and received as pushes."""
