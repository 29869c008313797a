"""The ground floor: errors, settings, tables, the workspace on disk, progress, memory, pools of processes."""
