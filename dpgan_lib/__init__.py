"""The library behind the book "Private and Specific": differentially private GANs you can steer.

`ls` is the architecture. To read it from the core outwards: steps (Eq. 1 as code), mechanism (the private sum),
training (the loop), experiment (from parameters to a record).
"""


