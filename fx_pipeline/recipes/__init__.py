"""What is trained and traded: an agent, its market, its bars, features, sessions, actions, costs and reward."""
