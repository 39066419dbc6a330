import { groupTitles } from '../../src/settings/example.ts';
import { schema, variableNames } from '../../src/settings/schema.ts';

const INTRO = `# 设置 / Settings

由 \`src/settings/schema.ts\` 生成（\`npm run docs\`）。 Made from \`src/settings/schema.ts\` (\`npm run docs\`).

- 写在 \`.env\` 中；命令行变量优先，只对这一次命令有效：\`DOMAIN=meet.example.com ./部署.sh deploy --dry-run\`。空值等于默认值。
  In \`.env\`; a variable on the command line wins, for that one command. An empty value is the default.
- 可用 BOM、CRLF、单双引号、\`=\` 两边的空格、\`export\`、行尾注释，以及全角的等号、数字、逗号、冒号、句号。
  BOM, CRLF, quotes, spaces round \`=\`, \`export\`, trailing comments and full-width \`＝０，：。\` are read as meant.
- 所有问题一次报告（行号、变量、原因、改法），见 [errors.md](errors.md)；有问题时不做任何更改（退出码 2）。
  All problems are reported at once (line, variable, what, how to mend), see [errors.md](errors.md); nothing is changed then (exit code 2).
`;

/** The whole text of `docs/settings.md`: every variable, its default and values, in both languages. */
export function renderManual(): string {
  const lines = [INTRO.trimEnd()];
  let group = '';
  for (const name of variableNames) {
    const definition = schema[name];
    if (definition.group !== group) {
      group = definition.group;
      lines.push('', `## ${groupTitles[definition.group]}`, '', '| 变量 Variable | 默认 Default | 取值 Values | 说明 | Meaning |', '|---|---|---|---|---|');
    }
    const values = 'options' in definition.type ? (definition.type.options as string[]).map((one) => `\`${one}\``).join(' ') : '';
    const note = 'isSecret' in definition ? '密钥 secret' : values;
    lines.push(
      `| \`${name}\` | ${definition.fallback === '' ? '' : `\`${definition.fallback}\``} | ${note} | ${cell(definition.zh)} | ${cell(definition.en)} |`,
    );
  }
  return `${lines.join('\n')}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
