// What Node itself takes of a deploy: a program in the CLI's place that only runs floor.sh, and one in the agent's that only answers.
// Usage: node bare-node.cjs ENV_FILE PORT
const { spawn } = require('node:child_process');
const { createServer } = require('node:http');

const [what, port] = process.argv.slice(2);
if (what === 'agent') {
  createServer((_request, response) => response.end()).listen(Number(port), '127.0.0.1');
} else {
  // As the agent is started.
  const agent = spawn(process.execPath, ['--max-semi-space-size=1', '--v8-pool-size=1', __filename, 'agent', port], { stdio: 'ignore' });
  const bare = spawn(`${__dirname}/floor.sh`, [what, port], { stdio: 'inherit' });
  bare.on('exit', () => agent.kill('SIGKILL'));
}
