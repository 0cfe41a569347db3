/** The names that an environment variable of a worker may have. Each worker starts through a shell, which silently drops any other. */
export const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
