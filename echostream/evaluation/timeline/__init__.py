"""`echostream timeline`: a page that shows why each word of a run came when it did."""
