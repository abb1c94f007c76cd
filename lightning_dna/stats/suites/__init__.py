"""Statistics over a whole suite of tasks, with the error of the tasks that were chosen or not."""
