import type { Command } from 'commander';
import type { CliContext, GlobalOptions } from './context.ts';
import { addToken, listTokens, revokeToken } from './tokens.ts';

/** What every command is made with. */
export interface CommandTools {
  action(work: (context: CliContext, ...words: string[]) => Promise<number | void>): (...all: unknown[]) => Promise<void>;
  examples(...lines: string[]): string;
  say(zh: string, en: string): string;
}

/** The commands that speak with the business service of this machine. */
export function addServiceCommands(program: Command, { action, examples, say }: CommandTools): void {
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
        const { scope = '*', expires } = add.optsWithGlobals<GlobalOptions & { scope?: string; expires?: string }>();
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
