import { apiProblems } from '../../src/contract/problems.ts';
import { causes, en, errors, problems } from '../../src/kernel/messages/en.ts';
import type { MessageCode } from '../../src/kernel/messages/en.ts';
import { zh } from '../../src/kernel/messages/zh.ts';

/** Every exit code of the command line, with its meaning. */
export const exitCodes: ReadonlyArray<{ code: number; zh: string; en: string }> = [
  { code: 0, zh: '成功', en: 'done' },
  { code: 1, zh: '失败；`status` 有部件不健康', en: 'failed; with `status`, a part is not well' },
  { code: 2, zh: '配置或用法错误；未做任何更改', en: 'bad settings or usage; nothing was changed' },
  { code: 3, zh: '另一命令持有锁；未做任何更改', en: 'another run holds the lock; nothing was changed' },
  { code: 130, zh: '被中断（Ctrl-C）', en: 'interrupted (Ctrl-C)' },
];

/** The whole text of `docs/errors.md`: exit codes, and what each code says in both languages. */
export function renderErrors(): string {
  return `${[
    '# 错误代码 / Error codes',
    '',
    '由消息目录 `src/kernel/messages` 生成（`npm run docs`）。 Made from the catalogues in `src/kernel/messages` (`npm run docs`).',
    '',
    '`{…}` 处填入实际的值。 `{…}` stands for what was found. `--json` 时错误是一行 With `--json` an error is one line: `{"error": "PORT_TAKEN", "port": 443, …}`。',
    '',
    '## 退出码 / Exit codes',
    '',
    '| 退出码 Exit code | 含义 | Meaning |',
    '|---|---|---|',
    ...exitCodes.map((one) => `| ${one.code} | ${one.zh} | ${one.en} |`),
    '',
    '## 命令的错误 / Errors of commands',
    '',
    ...table(Object.keys(errors)),
    '',
    '## 配置的问题 / Problems of the settings',
    '',
    '`SETTINGS_INVALID` 时逐条列出行号、变量、值（密钥除外）和以下之一。 `SETTINGS_INVALID` lists line, variable, value (never a secret’s) and one of these. `--json`: `{"error": "SETTINGS_INVALID", "problems": [{"code", "variable", "line", "value", "hint"}]}`。',
    '',
    ...table(Object.keys(problems)),
    '',
    '## `verify` 失败的原因 / Why `verify` failed',
    '',
    '`VERIFY_FAILED` 的 `{cause}`。 The `{cause}` of `VERIFY_FAILED`.',
    '',
    ...table(Object.keys(causes)),
    '',
    '## HTTP API',
    '',
    'RFC 9457 应答中的 `code`。 The `code` of an RFC 9457 answer.',
    '',
    '| 代码 Code | HTTP | 含义 | Meaning |',
    '|---|---|---|---|',
    ...Object.entries(apiProblems).map(([code, one]) => `| \`${code}\` | ${one.status} | ${one.zh} | ${one.en} |`),
  ].join('\n')}\n`;
}

function table(codes: readonly string[]): string[] {
  return [
    '| 代码 Code | 含义与改法 | Meaning and how to mend it |',
    '|---|---|---|',
    ...(codes as MessageCode[]).map((code) => `| \`${code}\` | ${cell(zh[code])} | ${cell(en[code])} |`),
  ];
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
