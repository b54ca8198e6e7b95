// Texts of tasks, failures, data, sources, jobs, logs and settings.

export default {
};
