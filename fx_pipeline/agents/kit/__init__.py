"""What several agents are made with: no agent is named here, and none has to use it."""
