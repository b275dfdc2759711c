"""Why a verdict is what it is: the window read again, the verdict replayed, told in words and pictures."""
