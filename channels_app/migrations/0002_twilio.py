"""SIDs for accounts, instances and channels; keys of accounts; channels that expire; what Twilio's wire has besides."""

import uuid

import django.db.models.deletion
from django.db import migrations, models
from django.db.migrations.state import StateApps

BATCH = 500
WITH_UUID = ("administrator", "instance", "channel")


def give_uuids(apps: StateApps, schema_editor: object) -> None:
    """Each row one of its own: a default is evaluated once for all rows that are there."""
    for name in WITH_UUID:
        rows = apps.get_model("channels_app", name)._base_manager
        while without := list(rows.filter(uuid=None)[:BATCH]):
            for row in without:
                row.uuid = uuid.uuid4()
            rows.bulk_update(without, ["uuid"])


class Migration(migrations.Migration):

    dependencies = [
        ('channels_app', '0001_initial'),
    ]

    operations = [
        *(
            migrations.AddField(model_name=name, name='uuid', field=models.UUIDField(editable=False, null=True))
            for name in WITH_UUID
        ),
        migrations.RunPython(give_uuids, migrations.RunPython.noop, elidable=True),
        *(
            migrations.AlterField(
                model_name=name, name='uuid', field=models.UUIDField(default=uuid.uuid4, editable=False, unique=True)
            )
            for name in WITH_UUID
        ),
        migrations.AddField(
            model_name='channel',
            name='expires_at',
            field=models.DateTimeField(blank=True, db_index=True, help_text='When the channel is deleted. Empty: never.', null=True),
        ),
        migrations.CreateModel(
            name='AdministratorKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uuid', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('description', models.TextField(blank=True, default='')),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('prefix', models.CharField(editable=False, max_length=8, verbose_name='secret')),
                ('sealed', models.TextField(editable=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('last_used_at', models.DateTimeField(editable=False, null=True, verbose_name='last used')),
                ('administrator', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='keys', to='channels_app.administrator')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='TwilioService',
            fields=[
                ('instance', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='twilio_service', serialize=False, to='channels_app.instance')),
                ('webhook_url', models.CharField(blank=True, default='', max_length=512)),
                ('webhooks_from_rest_enabled', models.BooleanField(default=False)),
                ('reachability_webhooks_enabled', models.BooleanField(default=False)),
                ('acl_enabled', models.BooleanField(default=False)),
                ('reachability_debouncing_enabled', models.BooleanField(default=False)),
                ('reachability_debouncing_window', models.PositiveIntegerField(default=5000)),
            ],
        ),
        migrations.CreateModel(
            name='TwilioStream',
            fields=[
                ('channel', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='twilio_stream', serialize=False, to='channels_app.channel')),
                ('unique_name', models.CharField(blank=True, max_length=320, null=True)),
                ('created_by', models.CharField(default='system', max_length=256)),
                ('instance', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='twilio_streams', to='channels_app.instance')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('instance', 'unique_name'), name='stream_name_unique_in_service')],
            },
        ),
    ]
