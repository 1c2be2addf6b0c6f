"""
Graded scenarios: what courses ask of a primary/backup service, and what they
leave out, each as a rule and a story of a few lines.

Most are played on virtual time over the real rules, so that all of them
together take seconds and none ever flickers; `test_daemons` plays those that
matter most over real processes.  ``make grade`` prints the points.
"""
