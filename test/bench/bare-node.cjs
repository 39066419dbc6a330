// What Node itself takes of a deploy: a program in the CLI's place that only runs floor.sh, and one in the agent's that only answers.
// Usage: node bare-node.cjs PORT [ENV_FILE], without which it is the latter
const { spawn } = require('node:child_process');
const { createServer } = require('node:http');

const [port, envFile] = process.argv.slice(2);
if (envFile === undefined) {
  createServer((_request, response) => response.end()).listen(Number(port), '127.0.0.1');
} else {
  // As the agent is started.
  const agent = spawn(process.execPath, ['--max-semi-space-size=1', '--v8-pool-size=1', __filename, port], { stdio: 'ignore' });
  const bare = spawn(`${__dirname}/floor.sh`, [envFile, port], { stdio: 'inherit' });
  bare.on('exit', () => agent.kill('SIGKILL'));
}
