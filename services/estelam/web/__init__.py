"""What every page of the suite shares: how it listens, what stands around it, and how it looks and speaks."""
