"""Review in the FiftyOne App: what the checks found goes there, what people decide comes back as decisions.

``read_model`` says what is shown of each image, ``push`` brings it into FiftyOne's database, ``queues`` rank it,
``review_session`` and ``operators`` take the key presses, ``journal`` writes them down at once, ``pull`` makes
decisions of them.
"""
