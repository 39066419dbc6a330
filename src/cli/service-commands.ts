import type { Command } from 'commander';
import { optionsOf } from './command-tools.ts';
import type { CommandTools, Commands } from './command-tools.ts';
import { addToken, listDeadLetters, listTokens, listWebhooks, replayWebhooks, revokeToken, testWebhooks } from './commands.ts';

/** What speaks with the business service of this machine. */
export function serviceCommands(tools: CommandTools): Commands {
  return {
    tokens: (program) => addTokenCommands(program, tools),
    webhooks: (program) => addWebhookCommands(program, tools),
  };
}

function addWebhookCommands(program: Command, { action, examples, say }: CommandTools): void {
  const webhooks = program
    .command('webhooks')
    .description(
      say('发往自有系统的 Webhook：状态、未送达的消息、重发、测试', 'webhooks to your own systems: how they do, what was not taken, send again, test'),
    )
    .addHelpText('after', examples('./部署.sh webhooks list', './部署.sh webhooks test', './部署.sh webhooks replay'));
  webhooks
    .command('list')
    .description(say('列出接收地址及其状态', 'list the endpoints and how they do'))
    .addHelpText('after', examples('./部署.sh webhooks list', './部署.sh webhooks list --json'))
    .action(action(listWebhooks));
  webhooks
    .command('dead <id>')
    .description(say('列出某接收地址 24 小时内未能送达的消息', 'list what an endpoint did not take within 24 hours'))
    .addHelpText('after', examples('./部署.sh webhooks dead we_…', './部署.sh webhooks dead we_… --json'))
    .action(action((context, id = '') => listDeadLetters(context, id)));
  const replay: Command = webhooks
    .command('replay [id]')
    .description(say('重发未送达的消息（默认为所有接收地址的）', 'send again what was not taken (default: of all endpoints)'))
    .option('--letters <numbers>', say('只重发这些编号，逗号分隔', 'these numbers alone, with commas between'))
    .addHelpText('after', examples('./部署.sh webhooks replay', './部署.sh webhooks replay we_…', './部署.sh webhooks replay we_… --letters 17,18 --json'))
    .action(action((context, id) => replayWebhooks(context, id, { letters: optionsOf<{ letters?: string }>(replay).letters })));
  webhooks
    .command('test [id]')
    .description(say('立即发送一条测试消息（默认发往所有启用的接收地址）', 'send a test message at once (default: to all that are switched on)'))
    .addHelpText('after', examples('./部署.sh webhooks test', './部署.sh webhooks test we_… --json'))
    .action(action(testWebhooks));
}

function addTokenCommands(program: Command, { action, examples, say }: CommandTools): void {
  const tokens = program
    .command('tokens')
    .description(say('业务服务的 API token：新建、列出、吊销', 'tokens of the business service’s API: add, list, revoke'))
    .addHelpText('after', examples('./部署.sh tokens add billing --scope rooms:read,history:read --expires 90d', './部署.sh tokens list'));
  const add: Command = tokens
    .command('add <name>')
    .description(say('新建 token，只显示这一次', 'make a token, which is shown this once'))
    .option('--scope <scopes>', say('权限，逗号分隔（默认为 *，全部）', 'scopes with commas between (default: *, all)'))
    .option('--expires <when>', say('有效期：12h、90d、1y 或日期（默认直到吊销）', 'how long: 12h, 90d, 1y or a date (default: until it is revoked)'))
    .addHelpText('after', examples('./部署.sh tokens add app', './部署.sh tokens add billing --scope rooms:read,history:read --expires 90d --json'))
    .action(
      action((context, name = '') => {
        const { scope = '*', expires } = optionsOf<{ scope?: string; expires?: string }>(add);
        return addToken(context, name, { scopes: scope, expires });
      }),
    );
  tokens
    .command('list')
    .description(say('列出 token（不含其内容）', 'list the tokens, without what they are'))
    .addHelpText('after', examples('./部署.sh tokens list', './部署.sh tokens list --json'))
    .action(action(listTokens));
  tokens
    .command('revoke <id>')
    .description(say('吊销 token，立即生效', 'revoke a token at once'))
    .addHelpText('after', examples('./部署.sh tokens revoke tok_…'))
    .action(action((context, id = '') => revokeToken(context, id)));
}
