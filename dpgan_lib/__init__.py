"""The library behind the book "Private and Specific": differentially private GANs you can steer.

`ls` is the architecture. To read it from the core outwards: gan.steps (Eq. 1 as code), privacy.mechanism (the private
sum), gan.loop (the loop), studies.study (from parameters to a record).
"""
