"""Sweeps: many points of one arm on shared data and scores, tried by Ray Tune, resumed by the same command.

The driver (run.py) runs the stages that all trials share, then Tune (tuner.py) runs one function (trial.py) for each point and
seed, which takes the arm's own steps. What a trial came to is a file of its own (record.py); what is chosen, told and drawn is
made of these files (choose.py, table.py, plots.py).
"""
